//! Random tokens and bits from the kernel.
//! Never a seed of our own: what cannot be guessed comes from the kernel or not at all.

use crate::model::Token;

/// A fresh 128-bit token.
pub fn token() -> Result<Token, std::io::Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(Token::from_bytes(bytes))
}

/// Sixteen fresh random bits.
pub fn bits() -> Result<u16, std::io::Error> {
    let mut bytes = [0u8; 2];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(u16::from_le_bytes(bytes))
}
