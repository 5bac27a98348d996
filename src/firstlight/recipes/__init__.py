"""Published results, one file each; the docstring states the data, the cost and the result obtained."""
