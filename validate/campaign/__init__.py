"""Many steps as one run: what a budget holds, in order, journalled, alone on the site."""
