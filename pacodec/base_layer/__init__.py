"""Standard codecs as the lowest layer: GOPs of packets, of an encoder of ours or of the source, shown in exact RGB."""
