"""An HTTP server and one page that restore photographs; needs the extra `serve`."""
