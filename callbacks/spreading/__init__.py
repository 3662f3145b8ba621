"""Parts of the callbacks that run several searches: what a search is, and what needs none."""
