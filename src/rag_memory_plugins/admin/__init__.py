"""What the owner of a store does, and no tenant: move it, give it another embedder, count, erase."""
