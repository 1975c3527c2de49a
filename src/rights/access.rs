//! What an access list of Windows says, and whether that is private or trustworthy. Pure, so that it is tested everywhere.
//!
//! Why from text: Windows writes owner and access list as one line (SDDL: "O:BAD:P(A;OICI;FA;;;SY)", see Microsoft's
//! "Security Descriptor String Format"), and a line can be tested on a machine that has no such lists. Accounts are
//! compared as they stand there: a SID, or two letters for the usual ones.

/// Administrators, SYSTEM, and the account that installs Windows' own files.
const ADMINISTRATORS: [&str; 3] =
    ["BA", "SY", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];
/// Whoever makes something in the folder, and the owner of what is in it: no further accounts.
const OWNERS: [&str; 3] = ["CO", "S-1-3-0", "OW"];
/// LocalService and NetworkService.
const SERVICES: [&str; 2] = ["LS", "NS"];
/// Each service has an account of its own below this, `NT SERVICE\name`; `S-1-5-80-0` is all of them.
const SERVICE: &str = "S-1-5-80-";
const ALL_SERVICES: &str = "S-1-5-80-0";

/// What Windows abbreviates: rights in general, those of files, and the single bits (which have the names of other things).
const CODES: [(&str, u32); 21] = [
    ("GA", 0x1000_0000),
    ("GR", 0x8000_0000),
    ("GW", 0x4000_0000),
    ("GX", 0x2000_0000),
    ("FA", 0x001F_01FF),
    ("FR", 0x0012_0089),
    ("FW", 0x0012_0116),
    ("FX", 0x0012_00A0),
    ("SD", 0x0001_0000),
    ("RC", 0x0002_0000),
    ("WD", 0x0004_0000),
    ("WO", 0x0008_0000),
    ("CC", 0x001),
    ("DC", 0x002),
    ("LC", 0x004),
    ("SW", 0x008),
    ("RP", 0x010),
    ("WP", 0x020),
    ("DT", 0x040),
    ("LO", 0x080),
    ("CR", 0x100),
];

/// The rights to exchange what is in a folder: everything, to delete what is in it, to change its list or its owner. To add
/// something is not among them, since a new file belongs to whoever made it.
pub(super) const EXCHANGE_WITHIN: u32 = 0x1000_0000 | 0x0040 | 0x0004_0000 | 0x0008_0000;
/// The rights to change a file: also to delete, to write and to append.
pub(super) const CHANGE_FILE: u32 = EXCHANGE_WITHIN | 0x0001_0000 | 0x4000_0000 | 0x0002 | 0x0004;

/// Owner and entries of an access list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub owner: String,
    /// What is allowed to whom; `None` if there is no list, which allows all to all.
    grants: Option<Vec<Grant>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Grant {
    to: String,
    rights: u32,
    /// It is for what will be made in the folder, not for the folder.
    for_new_ones: bool,
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
        let grants = match list {
            None => None,
            Some(list) if list.contains("NO_ACCESS_CONTROL") => None,
            Some(list) => Some(entries(list)?.into_iter().filter_map(grant).collect::<Option<_>>()?),
        };
        Some(Access { owner: owner.to_owned(), grants })
    }

    /// Whether the owner is one who may do everything anyway, a service, or `user`, who runs this.
    pub fn owner_is_trusted(&self, user: &str) -> bool {
        is_trusted(&self.owner, user)
    }

    /// Whether nobody but the owner, `user`, administrators and services may do anything.
    pub fn is_private(&self, user: &str) -> bool {
        self.is_known(user, |_| true)
    }

    /// Whether nobody but these has any of the rights `wanted`.
    pub fn is_closed(&self, user: &str, wanted: u32) -> bool {
        self.is_known(user, |grant| !grant.for_new_ones && grant.rights & wanted != 0)
    }

    fn is_known(&self, user: &str, concerns: impl Fn(&Grant) -> bool) -> bool {
        let known = |to: &str| to == self.owner || OWNERS.contains(&to) || is_trusted(to, user);
        let Some(grants) = &self.grants else { return false };
        grants.iter().filter(|grant| concerns(grant)).all(|grant| known(&grant.to))
    }
}

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
            // What follows is the list of what is logged.
            'S' if depth == 0 && list[at..].starts_with("S:") => break,
            _ => {}
        }
    }
    (depth == 0).then_some(found)
}

/// What an entry allows: nothing to see if it denies, and `Some(None)` if it has another form.
fn grant(entry: &str) -> Option<Option<Grant>> {
    let fields: Vec<&str> = entry.splitn(7, ';').collect();
    let [kind, flags, rights, _, _, to, ..] = fields.as_slice() else { return Some(None) };
    if ["D", "OD", "XD"].contains(kind) {
        return None;
    }
    let for_new_ones = flags.as_bytes().chunks(2).any(|flag| flag == b"IO");
    Some(Some(Grant { to: (*to).to_owned(), rights: bits(rights), for_new_ones }))
}

/// The bits of rights as they are written. What is not known here counts as everything.
fn bits(rights: &str) -> u32 {
    if let Some(hex) = rights.strip_prefix("0x") {
        return u32::from_str_radix(hex, 16).unwrap_or(u32::MAX);
    }
    let bit = |code: &[u8]| {
        CODES.iter().find(|(name, _)| name.as_bytes() == code).map_or(u32::MAX, |(_, bits)| *bits)
    };
    rights.as_bytes().chunks(2).map(bit).fold(0, |all, bits| all | bits)
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
            assert!(access.owner_is_trusted(USER) && access.is_private(USER), "{line}");
        }
    }

    #[test]
    fn a_folder_that_anybody_else_may_look_into_is_not() {
        for grant in [
            "(A;OICI;FR;;;WD)",
            "(A;OICIID;0x1200a9;;;BU)",
            "(A;;CCLC;;;AU)",
            "(A;OICIIO;GR;;;BU)",
            "(XA;;FR;;;WD;(Member_of {SID(BA)}))",
            "(A;;FA;;;S-1-5-21-1-2-3-1002)",
            "(A;;FA;;;S-1-5-80-0)",
            "(what is this)",
        ] {
            let line = format!("O:BAD:P(A;OICI;FA;;;BA){grant}(A;OICI;FA;;;SY)");
            assert!(!Access::read(&line).is_some_and(|access| access.is_private(USER)), "{line}");
        }
        for line in ["O:BA", "O:BAD:NO_ACCESS_CONTROL"] {
            assert!(!read(line).is_private(USER), "{line}: without a list all may do all");
        }
    }

    #[test]
    fn the_owner_has_to_be_one_who_could_do_everything_anyway_a_service_or_the_user() {
        for (owner, trusted) in [
            ("BA", true),
            ("SY", true),
            ("LS", true),
            ("NS", true),
            (ADMINISTRATORS[2], true),
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
    fn what_others_may_read_is_closed_and_what_they_may_change_is_not() {
        let closed = |grant: &str, to| read(&format!("O:BAD:AI(A;;FA;;;BA){grant}")).is_closed(USER, to);
        for (grant, file, folder) in [
            ("(A;ID;0x1200a9;;;BU)", true, true),
            ("(A;ID;FR;;;WD)", true, true),
            ("(A;OICIIOID;GA;;;WD)", true, true),
            // What the system grants its users below %ProgramData%: to add files and folders.
            ("(A;CIID;DCLCRPCR;;;BU)", false, true),
            ("(A;;FW;;;WD)", false, true),
            // Modify: what a second disk grants to all who have logged on. It includes to delete the folder, but nothing in it.
            ("(A;ID;0x1301bf;;;AU)", false, true),
            ("(A;;DT;;;WD)", false, false),
            ("(A;;WD;;;S-1-5-21-1-2-3-1002)", false, false),
            ("(A;;WO;;;BU)", false, false),
            ("(A;;GA;;;BU)", false, false),
            ("(A;;??;;;BU)", false, false),
        ] {
            assert_eq!(
                (closed(grant, CHANGE_FILE), closed(grant, EXCHANGE_WITHIN)),
                (file, folder),
                "{grant}"
            );
        }
    }

    #[test]
    fn what_is_no_access_list_is_not_taken_for_one() {
        for line in ["", "D:(A;;FA;;;BA)", "O:BAD:(A;;FA;;;BA", "O:BAD:)A;;FA;;;BA("] {
            assert_eq!(Access::read(line), None, "{line}");
        }
    }
}
