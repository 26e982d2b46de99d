"""Whether answers and boxes are right, and how sure that is; knows no data set."""
