"""The laptop: the same template in an emulator, a stand-in for Claude, and the demo. Nothing here is deployed."""
