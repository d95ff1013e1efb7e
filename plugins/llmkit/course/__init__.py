"""What only this course's lessons and benches use: comparing two ways in one run, measuring a local model.

Leave this package behind when you take ``llmkit`` into a project of your own.
"""
