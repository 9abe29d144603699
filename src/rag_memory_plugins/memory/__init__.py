"""What a conversation remembers, and what of it goes to the model."""
