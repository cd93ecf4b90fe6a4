"""The entrances: a request or an event in, a response out, no rules."""
