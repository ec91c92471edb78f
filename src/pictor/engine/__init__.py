"""The engine: turns plans into pictures, and pictures into files that can be made again."""
