"""What is known of one network so far, kept between runs of a page."""
