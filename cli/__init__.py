"""The command line: one file per command; each parses options, calls one library function and prints."""
