"""Finding remembered messages: embedding, keywords, fusion and windows, as pure steps."""
