"""HAProxy as an edge of its own: two instances, configured once, changed over the runtime API ever after."""
