//! Which files make up the tables of the lake.
