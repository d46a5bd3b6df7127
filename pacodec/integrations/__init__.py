"""pacodec inside other libraries, each of which is an extra of its own and imported by its module alone."""
