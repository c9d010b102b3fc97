"""One HTML file for human eyes: `facts` say what stands in it, `page` makes them a page."""
