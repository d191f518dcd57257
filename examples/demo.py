"""Placeholder until the five kinds are in: one autoencoder beside PCA."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from isthmus import Autoencoder

X = load_digits().data
model = Autoencoder(latent_dim=8, random_state=0).fit(X)
pca = PCA(8).fit(X)
print("squared error a digit, 8 numbers each")
print(f"  PCA          {np.square(pca.inverse_transform(pca.transform(X)) - X).sum(1).mean():8.1f}")
print(f"  Autoencoder  {np.square(model.reconstruct(X) - X).sum(1).mean():8.1f}")
