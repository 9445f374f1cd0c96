"""Images that the boundaries start from: fetched, else built; kept by the hash of what they are made of."""
