"""Groups of pictures: where they are cut, how they are coded side by side in threads, and how they are decoded."""
