"""How a discovery is shown and stored: the parts of `reports.discovery`."""
