"""A release: the file that devices get, with all that lets anyone check it. Written once, verified anywhere."""
