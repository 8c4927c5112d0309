"""One replica that batches continuously: how long its iterations take, and what requests see of them."""
