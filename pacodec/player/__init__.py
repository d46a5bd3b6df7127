"""`pacodec play`: a file in the browser, exactly as it is, with what it says of where its bits went."""
