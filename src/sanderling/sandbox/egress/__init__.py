"""The way out of boxes that may have one: a proxy that admits named domains over HTTP and HTTPS."""
