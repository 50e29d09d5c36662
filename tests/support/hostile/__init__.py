"""What an enemy sends: torrents, payloads, links, indexes, and peers that lie."""
