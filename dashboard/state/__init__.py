"""What a visitor chose: the view, links to it, the rules with their prices."""
