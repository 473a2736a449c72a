"""Parts of the pages: each draws one card from the state and the current answer."""
