"""`make bench`: measures of one run on one machine, as ratios where a machine's speed would blur them."""
