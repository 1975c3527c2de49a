//! Reads an access list of Windows: the owner of a folder, and who else may use it. Pure, so that
//! it is tested on every system.
//!
//! Why from text: Windows writes owner and list as one line (SDDL: `O:BAD:P(A;OICI;FA;;;SY)`, see
//! Microsoft's "Security Descriptor String Format"), so all reading of its structures is left to
//! Windows, and a line can be tested on a machine that has no such lists. Accounts are compared as
//! they stand there: a SID, or two letters for the usual ones.

/// Administrators and SYSTEM.
const ADMINISTRATORS: [&str; 2] = ["BA", "SY"];
/// The creator of a file in the folder and the owner of one: no further accounts.
const OWNERS: [&str; 3] = ["CO", "S-1-3-0", "OW"];
/// LocalService and NetworkService.
const SERVICES: [&str; 2] = ["LS", "NS"];
/// Each service has an account of its own below this, `NT SERVICE\name`; `S-1-5-80-0` is all of
/// them.
const SERVICE: &str = "S-1-5-80-";
const ALL_SERVICES: &str = "S-1-5-80-0";

/// Owner and entries of an access list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub owner: String,
    /// The accounts that are allowed something; `None` without a list, which allows everything.
    granted: Option<Vec<String>>,
}

impl Access {
    /// Reads a line of Windows; `None` if it has another form.
    pub fn read(line: &str) -> Option<Access> {
        let rest = line.strip_prefix("O:")?;
        let (owner, list) = match rest.split_once("D:") {
            // A group may stand between them; it has no rights of its own.
            Some((owner, list)) => (owner.split_once("G:").map_or(owner, |(owner, _)| owner), Some(list)),
            None => (rest, None),
        };
        let granted = match list {
            None => None,
            Some(list) if list.contains("NO_ACCESS_CONTROL") => None,
            Some(list) => Some(entries(list)?.into_iter().filter_map(granted_to).collect::<Option<_>>()?),
        };
        Some(Access { owner: owner.to_owned(), granted })
    }

    /// Whether the owner is an administrator, SYSTEM, a service, or `user`, who runs this.
    pub fn owner_is_trusted(&self, user: &str) -> bool {
        is_trusted(&self.owner, user)
    }

    /// The accounts that may do anything beside the owner, `user`, administrators and services;
    /// `None` if everybody may do everything.
    pub fn others(&self, user: &str) -> Option<Vec<&str>> {
        let known = |to: &str| to == self.owner || OWNERS.contains(&to) || is_trusted(to, user);
        let mut others: Vec<&str> = self.granted.as_ref()?.iter().map(String::as_str).collect();
        others.retain(|to| !known(to));
        others.sort_unstable();
        others.dedup();
        Some(others)
    }
}

/// Services count, since only an administrator can set one up.
fn is_trusted(account: &str, user: &str) -> bool {
    account == user
        || ADMINISTRATORS.contains(&account)
        || SERVICES.contains(&account)
        || (account.starts_with(SERVICE) && account != ALL_SERVICES)
}

/// The entries between parentheses. The condition of an entry may hold parentheses, too.
fn entries(list: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    found.push(&list[start..at]);
                }
            }
            // The audit list follows.
            'S' if depth == 0 && list[at..].starts_with("S:") => break,
            _ => {}
        }
    }
    (depth == 0).then_some(found)
}

/// The account that an entry allows something: `None` if it denies, `Some(None)` if it has another
/// form.
fn granted_to(entry: &str) -> Option<Option<String>> {
    let fields: Vec<&str> = entry.splitn(7, ';').collect();
    let [kind, _, _, _, _, to, ..] = fields.as_slice() else { return Some(None) };
    let denies = ["D", "OD", "XD"].contains(kind);
    (!denies).then(|| Some((*to).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "S-1-5-21-1-2-3-1001";
    const SALVER: &str = "S-1-5-80-11-12-13-14-15";

    fn read(line: &str) -> Access {
        Access::read(line).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn a_folder_of_administrators_system_and_its_user_is_private() {
        for line in [
            format!("O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;{USER})"),
            format!("O:{USER}D:PAI(A;OICI;FA;;;BA)(A;OICIIO;GA;;;CO)(A;;0x1f01ff;;;{USER})"),
            format!("O:{SALVER}G:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;{SALVER})S:AI(AU;SAFA;FA;;;WD)"),
            "O:LSG:LSD:P(A;OICI;FA;;;LS)(D;;FA;;;WD)".to_owned(),
            "O:SYD:P".to_owned(),
        ] {
            let access = read(&line);
            assert!(access.owner_is_trusted(USER), "{line}");
            assert_eq!(access.others(USER), Some(vec![]), "{line}");
        }
    }

    #[test]
    fn anybody_else_who_may_look_into_a_folder_is_found() {
        for (grant, to) in [
            ("(A;OICI;FR;;;WD)", "WD"),
            ("(A;OICIID;0x1200a9;;;BU)", "BU"),
            ("(A;;CCLC;;;AU)(A;OICIIO;GR;;;AU)", "AU"),
            ("(XA;;FR;;;WD;(Member_of {SID(BA)}))", "WD"),
            ("(A;;FA;;;S-1-5-21-1-2-3-1002)", "S-1-5-21-1-2-3-1002"),
            ("(A;;FA;;;S-1-5-80-0)", "S-1-5-80-0"),
        ] {
            let line = format!("O:BAD:P(A;OICI;FA;;;BA){grant}(A;OICI;FA;;;SY)");
            assert_eq!(read(&line).others(USER), Some(vec![to]), "{line}");
        }
        for line in ["O:BA", "O:BAD:NO_ACCESS_CONTROL"] {
            assert_eq!(read(line).others(USER), None, "{line}: without a list all may do all");
        }
    }

    #[test]
    fn the_owner_has_to_be_an_administrator_a_service_or_the_user() {
        for (owner, trusted) in [
            ("BA", true),
            ("SY", true),
            ("LS", true),
            ("NS", true),
            (SALVER, true),
            (USER, true),
            ("BU", false),
            (ALL_SERVICES, false),
            ("S-1-5-21-1-2-3-1002", false),
        ] {
            assert_eq!(read(&format!("O:{owner}D:(A;;FA;;;BA)")).owner_is_trusted(USER), trusted, "{owner}");
        }
    }

    #[test]
    fn what_is_no_access_list_is_not_taken_for_one() {
        for line in ["", "D:(A;;FA;;;BA)", "O:BAD:(A;;FA;;;BA", "O:BAD:)A;;FA;;;BA(", "O:BAD:(what is this)"]
        {
            assert_eq!(Access::read(line), None, "{line}");
        }
    }
}
