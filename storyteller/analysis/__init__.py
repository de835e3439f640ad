"""What goes on inside the model, as frozen records of arrays: no drawing here.

Each analysis is one function, from a loaded model to a :class:`~storyteller.analysis.record.Record` with documented shapes and units,
which saves itself as npz and JSON. Those that need gradients or scikit-learn import them when they are called.
"""
