//! AUROC, AUPRC, F1, perplexity and bootstrap intervals on plain slices.
