"""One model made of many: it goes on answering when providers fail."""
