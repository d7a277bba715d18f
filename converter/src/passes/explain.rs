use super::Report;
pub fn explain(_r: &Report) -> String {
    String::new()
}
