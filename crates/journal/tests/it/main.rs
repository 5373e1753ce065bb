//! The journal against disks that forget, tear, fail and flip, and against SIGKILL.

#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod group;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod power;
#[cfg(test)]
mod world;
