"""Multi-head latent attention over the latent cache (absorbed form)."""
