"""Reading corpora, making incomplete views of them, and the LightningDataModules."""
