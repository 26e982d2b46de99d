"""What every page is made of: HTML, plots, tables of rows, program listings, boxes and depth drawn on pictures."""
