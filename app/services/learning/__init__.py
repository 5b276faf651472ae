"""The loop's learning half: embed, train, propose, the gate, model runs, and what starts them."""
