"""The Llama-shaped decoder: its configuration checked, its forward pass in plain torch."""
