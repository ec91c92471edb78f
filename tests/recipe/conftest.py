"""Models that tests train share the graphs of what is alike."""

from kept_graphs import share_graphs as share_graphs
