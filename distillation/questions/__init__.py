"""Parts of asking a network: where it may be asked, what its answers say, and searches that use it."""
