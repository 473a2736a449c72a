"""Parts of the Explore page: each draws one card from the state and the current answer."""
