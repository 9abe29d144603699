"""What holds, read out of what was said: pure rules, and what reads claims out of messages."""
