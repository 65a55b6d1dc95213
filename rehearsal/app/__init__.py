"""The sample application of the rehearsal cluster: claude-enhancer, in versions 5.0 and 5.1."""
