"""Video files in and out by PyAV: pictures, timestamps, colour, and audio packets as they are."""
