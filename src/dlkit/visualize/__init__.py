"""What a trained network sees in a picture: its filters, its feature maps, and which pixels decide.

layers.py     the maps of every layer, caught while the network runs
explain.py    saliency and Grad-CAM: derivatives of one class's score
run.py        the pictures of a run, for `dlkit visualize`
"""

from dlkit.visualize.explain import Explanation, explain
from dlkit.visualize.layers import feature_maps
from dlkit.visualize.run import Visualization, visualize

__all__ = ["Explanation", "Visualization", "explain", "feature_maps", "visualize"]
