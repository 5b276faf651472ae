"""Everything a person touches: pages, routes, the command line, and the services behind them."""
