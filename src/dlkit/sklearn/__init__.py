"""dlkit's networks as scikit-learn estimators.

from dlkit.sklearn import DLKitClassifier
make_pipeline(PCA(32), DLKitClassifier(hidden=(64,), random_state=0)).fit(X, y)
"""

from dlkit.sklearn.estimator import DLKitClassifier, DLKitRegressor

__all__ = ["DLKitClassifier", "DLKitRegressor"]
